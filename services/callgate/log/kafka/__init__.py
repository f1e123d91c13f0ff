"""The log on Apache Kafka. See `engine` for the whole, `claiming` for what makes a lease safe."""
