/** tidegate: the lifecycle of a gateway, for Node. */
export {
  type Aborted,
  type AnyHttpServer,
  HttpDoor,
  type HttpDoorOptions,
  type HttpDoorStage,
  type IdleReport,
} from './http.js'
