FROM rust AS build
FROM debian:12
RUN apt-get update
COPY --from=build /t/release/app /app/app
