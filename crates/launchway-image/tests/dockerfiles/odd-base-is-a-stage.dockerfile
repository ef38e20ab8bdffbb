FROM rust AS build
FROM Build AS final
COPY --from=build /t/release/app /app/app
