FROM rust AS build
FROM --platform=linux/arm64 scratch
COPY --from=build /w/release/app /app/app
