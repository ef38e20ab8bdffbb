FROM rust AS build
FROM debian:12
RUN mkdir /data || true && rm -rf /var/cache/*
COPY --from=build /t/release/app /app/app
