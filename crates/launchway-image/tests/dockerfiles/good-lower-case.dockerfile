from rust as build
from scratch
copy --from=BUILD /w/release/app /app/app
