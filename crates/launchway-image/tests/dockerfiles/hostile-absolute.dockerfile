FROM rust AS build
FROM scratch
COPY /etc/passwd /x
COPY --from=build /w/release/app /app/app
