FROM rust AS build
FROM scratch
COPY none /etc/none
COPY --from=build /w/release/app /app/app
