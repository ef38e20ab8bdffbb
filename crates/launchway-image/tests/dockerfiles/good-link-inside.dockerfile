FROM rust AS build
FROM scratch
COPY inside /motd
COPY --from=build /w/release/app /app/app
