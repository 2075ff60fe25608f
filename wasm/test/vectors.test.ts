/** Replays every conformance vector, and the long pseudo-random scripts, through WebAssembly in Node. */

import { createRequire } from 'node:module'
import { replay } from '../../vectors/replay.js'
import { bind, type Exports } from '../host/core.js'

const exports = createRequire(import.meta.url)('../pkg/nodejs/tidegate_wasm.js') as Exports
const { calls, words } = bind(exports)

replay('wasm', calls, words)
