FROM rust AS build
FROM --platform=linux/arm64 debian:12
COPY --from=build /t/release/app /app/app
