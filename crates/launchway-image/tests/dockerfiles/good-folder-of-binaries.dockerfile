FROM --platform=$BUILDPLATFORM rust AS build
FROM --platform=$TARGETPLATFORM scratch
COPY --from=build /t/target/release/ /opt/
