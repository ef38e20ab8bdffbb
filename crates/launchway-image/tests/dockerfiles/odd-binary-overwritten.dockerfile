FROM rust AS build
FROM scratch
COPY motd /app/app
COPY --from=build /w/release/app /app/app
