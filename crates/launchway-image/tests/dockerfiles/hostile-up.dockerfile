FROM rust AS build
FROM scratch
COPY ../outside /x
COPY --from=build /w/release/app /app/app
