FROM rust AS build
FROM debian:12
RUN mkdir -p /data/db && \
    chown -R 1000:1000 /data
COPY --from=build /t/release/app /app/app
RUN chmod 0555 /app/app
