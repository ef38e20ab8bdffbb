//! The colours of the style sheet, by WCAG 2.2.

use std::collections::BTreeMap;

use super::STYLE;

type Colours = BTreeMap<String, [f64; 3]>;

/// The colours of the light and the dark scheme.
fn schemes() -> [Colours; 2] {
    let mut parts = STYLE.split(":root {").skip(1).map(|part| {
        let lines = part.split('}').next().unwrap().lines();
        let tokens =
            lines.filter_map(|line| line.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": #"));
        let colour = |hex: &str| {
            [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0)
        };
        tokens.map(|(name, hex)| (name.to_owned(), colour(hex))).collect()
    });
    [parts.next().unwrap(), parts.next().unwrap()]
}

fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [red, green, blue] = colour
            .map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_and_graphics_have_enough_contrast() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.001);
    let [light, dark] = schemes();
    assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
    let text = [
        ("ink", "ground"),
        ("ink", "sheet"),
        ("soft", "ground"),
        ("soft", "sheet"),
        ("accent", "ground"),
        ("accent", "sheet"),
        ("good", "good-wash"),
        ("bad", "bad-wash"),
        ("warn", "warn-wash"),
        ("ink", "warn-wash"),
        ("accent", "warn-wash"),
        ("soft", "quiet-wash"),
    ];
    let graphics = [
        ("accent", "area"),
        ("bad", "area"),
        ("good", "sheet"),
        ("bad", "sheet"),
        ("s0", "sheet"),
        ("s1", "sheet"),
        ("s2", "sheet"),
        ("s3", "sheet"),
        ("s4", "sheet"),
        ("s5", "sheet"),
    ];
    for scheme in [light, dark] {
        for (pairs, least) in [(text.as_slice(), 4.5), (graphics.as_slice(), 3.0)] {
            for (a, b) in pairs {
                let contrast = contrast(scheme[*a], scheme[*b]);
                assert!(contrast >= least, "{a} on {b}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn every_colour_is_a_custom_property() {
    let rules = STYLE.rsplit_once("* { box-sizing").unwrap().1;
    assert!(!rules.contains('#') && !rules.contains("rgb") && !rules.contains("hsl"), "{rules}");
}
