# escape=`
FROM rust AS build
FROM scratch
ENV A=1 `
    B=2
COPY --from=build /w/release/app /app/app
