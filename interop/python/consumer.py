"""A consumer as the guide's Python example writes it. It prints each entry of
STREAM as one line of JSON and ends after COUNT of them."""

import json
import os
import time

import redis

r = redis.Redis.from_url(os.environ.get('REDIS_URL', 'redis://localhost:6379'))

stream_key = os.environ.get('STREAM', 'crm:sync:user:user_created')
consumer_group = os.environ.get('GROUP', 'crm-consumers')
consumer_name = f'consumer-{int(time.time())}'
remaining = int(os.environ.get('COUNT', '1'))

# Setup consumer group
try:
    r.xgroup_create(stream_key, consumer_group, id='0', mkstream=True)
except redis.exceptions.ResponseError as e:
    if 'BUSYGROUP' not in str(e):
        raise

# Consume messages
while remaining > 0:
    messages = r.xreadgroup(
        consumer_group,
        consumer_name,
        {stream_key: '>'},
        count=min(10, remaining),
        block=2000
    )

    if messages:
        for stream, message_list in messages:
            for message_id, message_data in message_list:
                event_data = {k.decode(): v.decode() for k, v in message_data.items()}

                print(json.dumps({
                    'id': message_id.decode(),
                    'fields': event_data,
                    'data': json.loads(event_data.get('data', '{}')),
                    'metadata': json.loads(event_data.get('metadata', '{}')),
                    'eventData': json.loads(event_data.get('eventData', '{}')),
                    'acknowledgmentData': json.loads(event_data.get('acknowledgmentData', '{}')),
                }))

                # Acknowledge
                r.xack(stream_key, consumer_group, message_id)
                remaining -= 1
