// Builds the native part of this package for the machine it runs on, and puts it where host/native.ts looks.
import { execFileSync } from 'node:child_process'
import { copyFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const libc =
  process.platform === 'linux'
    ? process.report.getReport().header.glibcVersionRuntime
      ? '-gnu'
      : '-musl'
    : ''
const abi = process.platform === 'win32' ? '-msvc' : libc
const file = join(here, `tidegate.${process.platform}-${process.arch}${abi}.node`)

const messages = execFileSync(
  'cargo',
  [
    'build',
    '--profile',
    process.env.TIDEGATE_PROFILE ?? 'thin',
    '-p',
    'tidegate-node',
    '--message-format',
    'json-render-diagnostics',
  ],
  { cwd: here, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28, encoding: 'utf8' },
)
const library = messages
  .split('\n')
  .filter((line) => line.includes('"compiler-artifact"'))
  .map((line) => JSON.parse(line))
  .findLast((artifact) => artifact.target.name === 'tidegate_node')
  ?.filenames.find((name) => /\.(so|dylib|dll)$/.test(name))
if (library === undefined) throw new Error('cargo built no library')
// A process may have the old file loaded: replace it in one piece.
await copyFile(library, `${file}.${process.pid}`)
await rename(`${file}.${process.pid}`, file)
