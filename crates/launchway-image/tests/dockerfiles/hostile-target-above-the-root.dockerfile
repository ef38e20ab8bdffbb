FROM rust AS build
FROM scratch
COPY motd /../../motd
COPY --from=build /w/release/app /app/app
