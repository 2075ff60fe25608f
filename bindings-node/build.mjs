// Builds the host package twice: ES modules by the type checker itself, CommonJS by esbuild (which `tsx`
// brings along). Both keep one file per module, so the same declarations describe both.
import { execFileSync } from 'node:child_process'
import { cp, readdir, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
const [host, esm, cjs] = ['host', 'dist/esm', 'dist/cjs'].map((folder) => join(here, folder))

await rm(join(here, 'dist'), { recursive: true, force: true })
execFileSync(process.execPath, [join(typescript, 'bin/tsc'), '-p', join(here, 'tsconfig.build.json')], {
  stdio: 'inherit',
})

const sources = (await readdir(host, { recursive: true })).filter((file) => file.endsWith('.ts'))
await build({
  entryPoints: sources.map((file) => join(host, file)),
  outbase: host,
  outdir: cjs,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  // CommonJS has no `import.meta`; modules that locate files beside themselves need its URL.
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
})
await writeFile(join(cjs, 'package.json'), '{ "type": "commonjs" }\n')
await cp(join(host, 'postgres/migrations'), join(esm, 'postgres/migrations'), { recursive: true })
await cp(esm, cjs, {
  recursive: true,
  filter: (path) => !path.endsWith('.js'),
})
