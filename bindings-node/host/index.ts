/** tidegate: the lifecycle of a gateway, for Node. */

export {
  type Directory,
  DirectoryUnavailable,
  type HeldCommand,
  MAX_EPOCH,
  MemoryDirectory,
  type MemoryDirectoryOptions,
  type Owned,
  type Owner,
  type Refused,
  type RegisterCommand,
  type Registered,
  type Removed,
  type Renewed,
  type Vacant,
  type WaitOptions,
} from './directory.js'
export { ABORT_LIMIT, type DrainSource, type Farewell } from './drainable.js'
export type { Duration } from './duration.js'
export {
  BugError,
  ConfigError,
  type Fault,
  MalformedError,
  NativeError,
  RejectedError,
  type Rejection,
  TakeoverError,
  TidegateError,
  UpgradeError,
  type UpgradeObstacle,
} from './errors.js'
export type * from './generated.js'
export type { ListenOptions } from './handoff/listeners.js'
export type { HandoffOptions, PassedState } from './handoff/options.js'
export type { Upgraded } from './handoff.js'
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
  EmbeddedLeaseStore,
  type EmbeddedLeaseStoreOptions,
} from './lease/embedded-store.js'
export {
  LeaseRefused,
  LeaseStoreError,
  LeaseStoreUnavailable,
  PoolExhausted,
  UnknownGateway,
} from './lease/errors.js'
export type { LeaseAnswer, LeaseGranter, LeaseQuestion } from './lease/granter.js'
export type { Decided, LeaseCommand, LeaseReply, LeaseRow } from './lease/row.js'
export type { AllocateCommand, GatewayCommand, LeaseStore, ListedRow } from './lease/store.js'
export {
  type BootAnswer,
  type Handshake,
  type HeldLease,
  incarnation,
  LeaseHolder,
  type LeaseHolderEvents,
  type LeaseHolderOptions,
  LeaseOver,
} from './lease-holder.js'
export {
  type Allocation,
  LeasePool,
  type LeasePoolEvents,
  type LeasePoolOptions,
  type LeaseTerms,
  type PoolRow,
  type Route,
  type UnrouteContext,
} from './lease-pool.js'
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
  type StreamLike,
} from './lifecycle.js'
export {
  type ConfigOf,
  type Deadline,
  type EffectOf,
  type Explanation,
  type InputOf,
  Machine,
  type MachineOptions,
  monotonic,
  type RestoreOptions,
  type RunOptions,
  type Step,
} from './machine.js'
export { type MarkerContent, type MarkerOptions, writeMarker } from './marker.js'
export {
  type AddressSource,
  ReconnectingWebSocket,
  type ReconnectingWebSocketOptions,
  SocketCloseEvent,
} from './reconnecting-web-socket.js'
export {
  type Leak,
  NotDone,
  RecordedError,
  type SagaEnd,
  SagaError,
  type SagaFailure,
  SagaFenced,
  SagaHalted,
  SagaKeyReused,
  SagaNotStuck,
  SagaRefused,
  SagaRolledBack,
  SagaStuck,
  SagaUnderWay,
  SagaUnknown,
  StepInterrupted,
  StepTimeout,
  type UndoFailure,
} from './saga/errors.js'
export type { SagaEvents } from './saga/events.js'
export { FileJournal } from './saga/file-journal.js'
export {
  type JournalAppend,
  JournalFenced,
  JournalRefused,
  type JournalWriter,
  type SagaJournal,
  type SagaJournalFault,
  type SagaStanding,
  type TakenOver,
} from './saga/journal.js'
export { MemoryJournal } from './saga/memory-journal.js'
export type { Because, SagaOptions, SagaStepOptions, StepCall, UndoCall } from './saga/step.js'
export {
  type AnySaga,
  type Recovered,
  type RecoverOptions,
  recover,
  Saga,
  type SagaRunOptions,
  saga,
} from './saga.js'
export { DEFAULT_SIGNALS, type SignalIntents } from './signals.js'
export {
  type BackoffOptions,
  type DialRequest,
  type Notice,
  type NoticeReader,
  type Provided,
  type ProviderContext,
  type Release,
  type Sendable,
  SendRefusedError,
  type StandardWebSocket,
  type TunnelBehaviour,
  TunnelClient,
  type TunnelClientEvents,
  type TunnelClientOptions,
  TunnelConnection,
  type TunnelExplanation,
  type TunnelMessage,
  type WebSocketConstructor,
} from './tunnel-client.js'
export {
  type Admission,
  type Authorize,
  type HostRequest,
  RequestFailure,
  type RequestFailureCode,
  type TunnelResponse,
  TunnelServer,
  type TunnelServerEvents,
  type TunnelServerOptions,
  type WireHeaders,
} from './tunnel-server.js'
export {
  type WebSocketLike,
  type WebSocketNotice,
  type WebSocketOptions,
  type WebSocketServerLike,
  WebSocketSource,
} from './web-sockets.js'
