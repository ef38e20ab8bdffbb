FROM rust AS build
FROM scratch
COPY to-env /x
COPY --from=build /w/release/app /app/app
