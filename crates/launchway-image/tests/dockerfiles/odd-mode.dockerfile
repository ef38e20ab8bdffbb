FROM rust AS build
FROM scratch
COPY --chmod=rwx motd /
COPY --from=build /w/release/app /app/app
