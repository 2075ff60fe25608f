/** The options of a program of the examples: what cannot be read is said in a line, with how it is meant. */
import { type ParseArgsConfig, parseArgs } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values']

/** The values of the options, `--help` among them. Ends the program for that, and for what cannot be read. */
export function optionsOf<T extends Options>(usage: string, options: T): Values<T> {
  const given = () => parseArgs({ options: { ...options, help: { type: 'boolean' } } }).values
  let values: ReturnType<typeof given>
  try {
    values = given()
  } catch (error) {
    refuse((error as Error).message.split('. ')[0] as string, usage)
  }
  if ((values as { help?: boolean }).help !== true) return values as Values<T>
  process.stdout.write(usage)
  process.exit(0)
}

/** The option as a whole number; ends the program when it is none, or not within these. */
export function whole(usage: string, name: string, value: string, least: number, most: number): number {
  const number = Number(value)
  const fits = value.trim() !== '' && Number.isInteger(number) && number >= least && number <= most
  return fits
    ? number
    : refuse(`--${name} is ${value}, must be a whole number from ${least} to ${most}`, usage)
}

export function refuse(complaint: string, usage: string): never {
  process.stderr.write(`${complaint}\n\n${usage}`)
  process.exit(2)
}
