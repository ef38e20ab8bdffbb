// Accessibility problems of the page, one line each.
(() => {
  const problems = [];
  const need = (fine, words) => { if (!fine) problems.push(words); };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const text = (element) => element.textContent.trim();
  const name = (element) => {
    const ids = (element.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean);
    return [element.getAttribute('aria-label') ?? '', ...ids.map((id) => text(document.getElementById(id) ?? element.cloneNode()))].join(' ').trim();
  };
  const outline = (element) => element.outerHTML.slice(0, 90);

  need(document.documentElement.lang, 'the page has no language');
  need(text(document.head.querySelector('title')), 'the page has no title');
  need(all('h1').length === 1, `${all('h1').length} main headings`);
  let level = 0;
  for (const heading of all('h1, h2, h3, h4')) {
    const next = Number(heading.tagName[1]);
    // Headings before the main heading may start at any level.
    need(next <= level + 1 || level === 0, `heading skips a level: ${outline(heading)}`);
    need(text(heading), `empty heading: ${outline(heading)}`);
    level = next;
  }
  need(all('main').length === 1 && all('body > header').length === 1, 'landmarks are missing');
  const ids = all('[id]').map((element) => element.id);
  need(new Set(ids).size === ids.length, 'an id is used twice');
  for (const picture of all('svg, img')) {
    const named = picture.alt || name(picture) || picture.getAttribute('aria-hidden') === 'true';
    need(named && (picture.tagName === 'IMG' || picture.getAttribute('role') === 'img'), `picture without a name: ${outline(picture)}`);
  }
  for (const table of all('table')) {
    need(table.caption && text(table.caption), `table without a caption: ${outline(table)}`);
    need([...table.querySelectorAll('th')].every((cell) => cell.scope), `head without a scope: ${outline(table)}`);
  }
  for (const section of all('section[aria-labelledby], [role=region], [role=group], nav')) need(name(section), `landmark without a name: ${outline(section)}`);
  for (const link of all('a')) need(text(link) && link.href, `link without words: ${outline(link)}`);
  for (const element of all('[style], script')) problems.push(`inline: ${outline(element)}`);

  const focusable = all('a, summary, [tabindex]').filter((element) => element.checkVisibility());
  for (const element of focusable) {
    element.focus({ focusVisible: true });
    const style = getComputedStyle(element);
    need(style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2, `focus is not seen: ${outline(element)}`);
  }
  document.activeElement.blur();
  for (const element of all('body *')) {
    const scrolls = getComputedStyle(element).overflowX === 'auto' && element.scrollWidth > element.clientWidth;
    need(!scrolls || element.tabIndex === 0, `scrolls and takes no focus: ${outline(element)}`);
  }
  for (const cell of all('td.main')) need(cell.clientWidth >= 120, `squeezed to ${cell.clientWidth} pixels: ${outline(cell)}`);
  need(document.documentElement.scrollWidth <= innerWidth, `${document.documentElement.scrollWidth} pixels wide`);

  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('svg')) continue;
    const [a, b] = [luminance(numbers(getComputedStyle(element).color)), luminance(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    need(contrast >= 4.5, `contrast ${contrast.toFixed(2)}: ${outline(element)}`);
  }
  return [...new Set(problems)];
})()
