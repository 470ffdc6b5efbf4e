package freshet

import "go.opentelemetry.io/otel/attribute"

// The names of the OpenTelemetry semantic conventions for messaging that
// spans and measurements use, and, at the end, ours for what these lack.
const (
	semSystem         = attribute.Key("messaging.system")
	semOperation      = attribute.Key("messaging.operation.name")
	semOperationType  = attribute.Key("messaging.operation.type")
	semDestination    = attribute.Key("messaging.destination.name")
	semGroup          = attribute.Key("messaging.consumer.group.name")
	semMessageID      = attribute.Key("messaging.message.id")
	semConversationID = attribute.Key("messaging.message.conversation_id")
	semBatchCount     = attribute.Key("messaging.batch.message_count")
	semErrorType      = attribute.Key("error.type")

	semProcessDuration = "messaging.process.duration"

	semEventID = attribute.Key("freshet.event.id")
	semAttempt = attribute.Key("freshet.attempt")
)

// Values of messaging.operation.name and messaging.operation.type; a span's
// name begins with the same word.
const (
	semSend    = "send"
	semProcess = "process"
)

var semRedis = semSystem.String("redis")
