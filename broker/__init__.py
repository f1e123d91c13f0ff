"""A real Apache Kafka on this machine, from Kafka's own jars: for `make kafka`, the tests and the benchmark."""
