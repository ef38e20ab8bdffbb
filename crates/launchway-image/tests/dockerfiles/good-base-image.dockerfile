FROM rust AS build
FROM debian:12
COPY --from=build /w/release/app /app/app
