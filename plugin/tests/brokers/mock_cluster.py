"""A Kafka cluster of one broker with one topic: librdkafka's own mock of one. Commands come in by lines.

usage: mock_cluster.py TOPIC PARTITIONS
prints the address of the broker, then `done` after each command:
down, up             the broker stops, and starts again with what it had
refuse API CODE ...  the next requests of that kind are answered with these errors
"""

import ctypes
import sys

lib = ctypes.CDLL("librdkafka.so.1")
for name, result, arguments in [
    ("rd_kafka_new", ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
    ("rd_kafka_mock_topic_create", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ("rd_kafka_mock_broker_set_down", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    ("rd_kafka_mock_broker_set_up", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    (
        "rd_kafka_mock_push_request_errors_array",
        None,
        [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
]:
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments

PRODUCER = 0
topic, partitions = sys.argv[1].encode(), int(sys.argv[2])
problem = ctypes.create_string_buffer(512)
client = lib.rd_kafka_new(PRODUCER, None, problem, len(problem))
if not client:
    sys.exit(problem.value.decode())
cluster = lib.rd_kafka_mock_cluster_new(client, 1)
if lib.rd_kafka_mock_topic_create(cluster, topic, partitions, 1) != 0:
    sys.exit("no topic")
print(lib.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
for line in sys.stdin:
    command, *numbers = line.split()
    if command == "down":
        lib.rd_kafka_mock_broker_set_down(cluster, 1)
    elif command == "up":
        lib.rd_kafka_mock_broker_set_up(cluster, 1)
    else:
        api, *codes = map(int, numbers)
        lib.rd_kafka_mock_push_request_errors_array(cluster, api, len(codes), (ctypes.c_int * len(codes))(*codes))
    print("done", flush=True)
