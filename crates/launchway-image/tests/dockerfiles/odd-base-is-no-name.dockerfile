FROM rust AS build
FROM https://debian
COPY --from=build /t/release/app /app/app
