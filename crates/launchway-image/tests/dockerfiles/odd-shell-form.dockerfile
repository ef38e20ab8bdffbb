FROM rust AS build
FROM scratch
COPY --from=build /w/release/app /app/app
CMD /app/app serve
