"""Consumers of the journal that pass events on: MQTT, webhooks, Kafka.

Each is a process of its own (`gaitstream sink`), with a cursor of its own: a broker that is away never blocks
a run.
"""
