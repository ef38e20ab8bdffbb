FROM rust AS build
FROM scratch
COPY [a-  /x
COPY --from=build /w/release/app /app/app
