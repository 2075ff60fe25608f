/** Replays every conformance vector, and the long pseudo-random scripts, through the native part. */

import { replay } from '../../vectors/replay.js'
import { native } from '../host/native.js'
import { PackedWords } from '../host/packed.js'

replay('node', native, new PackedWords())
