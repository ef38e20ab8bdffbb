FROM rust AS build
FROM scratch
COPY --from=build /t/release/app /t/release/worker /usr/local/bin/
