// A consumer as the guide's Node.js example writes it. It prints each entry of
// STREAM as one line of JSON and ends after COUNT of them.
import Redis from 'redis';

const redis = Redis.createClient({
  url: process.env.REDIS_URL || 'redis://localhost:6379'
});

await redis.connect();

const streamKey = process.env.STREAM || 'crm:sync:user:user_created';
const consumerGroup = process.env.GROUP || 'crm-consumers';
const consumerName = `consumer-${Date.now()}`;
let remaining = Number(process.env.COUNT || 1);

// Setup consumer group
try {
  await redis.xGroupCreate(streamKey, consumerGroup, '0', { MKSTREAM: true });
} catch (error) {
  if (!error.message.includes('BUSYGROUP')) throw error;
}

// Consume messages
while (remaining > 0) {
  const messages = await redis.xReadGroup(
    consumerGroup,
    consumerName,
    { key: streamKey, id: '>' },
    { COUNT: Math.min(10, remaining), BLOCK: 2000 }
  );

  if (messages && messages.length > 0) {
    for (const stream of messages) {
      for (const message of stream.messages) {
        const eventData = message.message;

        console.log(JSON.stringify({
          id: message.id,
          fields: eventData,
          data: JSON.parse(eventData.data || '{}'),
          metadata: JSON.parse(eventData.metadata || '{}'),
          eventData: JSON.parse(eventData.eventData || '{}'),
          acknowledgmentData: JSON.parse(eventData.acknowledgmentData || '{}')
        }));

        // Acknowledge
        await redis.xAck(streamKey, consumerGroup, message.id);
        remaining--;
      }
    }
  }
}

await redis.close();
