FROM rust AS build
FROM scratch
COPY .env /
COPY --from=build /w/release/app /app/app
