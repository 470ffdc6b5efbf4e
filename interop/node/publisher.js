// A publisher of the guide's message structure and of its acknowledgment. DATA
// is the data of the user_created event that it appends; the acknowledgment
// refers to that event.
import Redis from 'redis';

const redis = Redis.createClient({
  url: process.env.REDIS_URL || 'redis://localhost:6379'
});

await redis.connect();

const random = () => Math.random().toString(36).slice(2, 11);

async function publishUserCreated(tenantId, data) {
  const streamKey = 'crm:sync:user:user_created';
  const message = {
    streamId: streamKey,
    messageId: `${Date.now()}-${random()}`,
    timestamp: new Date().toISOString(),
    sourceApp: 'wrapper-api',
    eventType: 'user_created',
    entityType: 'user',
    entityId: data.userId,
    tenantId,
    action: 'created',
    data: JSON.stringify(data),
    metadata: JSON.stringify({
      correlationId: `user_created_${data.userId}_${Date.now()}`,
      version: '1.0',
      retryCount: 0,
      sourceTimestamp: new Date().toISOString()
    })
  };

  await redis.xAdd(streamKey, '*', message);
  return message.messageId;
}

async function publishAcknowledgment(originalEventId, status, acknowledgmentData) {
  const message = {
    acknowledgmentId: `ack_${Date.now()}_${random()}`,
    originalEventId,
    status, // 'processed', 'failed', 'timeout'
    timestamp: new Date().toISOString(),
    source: 'crm',
    acknowledgmentData: JSON.stringify(acknowledgmentData)
  };

  await redis.xAdd('acknowledgments', '*', message);
}

const messageId = await publishUserCreated(process.env.TENANT, JSON.parse(process.env.DATA));
await publishAcknowledgment(messageId, 'processed', { processedBy: 'crm', eventType: 'user_created' });
console.log(JSON.stringify({ messageId }));

await redis.close();
