/** tidegate: the lifecycle of a gateway, for Node. */
export {
  BugError,
  ConfigError,
  type Fault,
  MalformedError,
  NativeError,
  RejectedError,
  type Rejection,
  TidegateError,
} from './errors.js'
export type * from './generated.js'
export {
  type Aborted,
  type AnyHttpServer,
  HttpDoor,
  type HttpDoorOptions,
  type HttpDoorStage,
  type IdleReport,
} from './http.js'
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
