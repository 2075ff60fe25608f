/** tidegate: the lifecycle of a gateway, for Node. */

export { ABORT_LIMIT, type DrainSource, type Farewell, type Intent } from './drainable.js'
export type { Duration } from './duration.js'
export type { HealthAnswer, HealthHandler, ProbeRequest, ProbeResponse } from './health.js'
export {
  type Aborted,
  type AnyHttpServer,
  HttpDoor,
  type HttpDoorOptions,
  type HttpDoorStage,
  type IdleReport,
} from './http.js'
export { type HttpOptions, HttpSource } from './http-source.js'
export {
  Lifecycle,
  type LifecycleCounters,
  type LifecycleEvents,
  type LifecycleExplanation,
  type LifecycleOptions,
  type Outcome,
  type Phase,
  type StepContext,
  type StepFailure,
  type StepFunction,
  type StepOptions,
} from './lifecycle.js'
export { DEFAULT_SIGNALS, type SignalIntents } from './signals.js'
export {
  type WebSocketLike,
  type WebSocketNotice,
  type WebSocketOptions,
  type WebSocketServerLike,
  WebSocketSource,
} from './web-sockets.js'
