FROM rust AS build
FROM scratch
COPY --chown=nobody motd /
COPY --from=build /w/release/app /app/app
