import { MlvError } from '../base/errors.ts'

export interface OutputOptions {
  json: boolean
  quiet: boolean
  verbose: boolean
  color: boolean
}

/** The one place that writes for the user: answers on stdout, everything else on stderr. */
export interface Output extends OutputOptions {
  /** Prints the answer: as JSON with --json, else as the text `render` makes ('' prints nothing). --quiet does not silence an answer. */
  answer(value: unknown, render: () => string): void
  /** A line about what was done; silent with --quiet and --json. */
  say(line: string): void
  /** A line only --verbose shows, on stderr. */
  detail(line: string): void
  /** A line on stderr, `warning: …`. */
  warn(line: string): void
  error(error: unknown): void
  /** @param clear called before each line: takes away, or ends, what is drawn on the terminal's last one   @returns what stops that */
  attach(clear: () => void): () => void
}

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/** Makes control characters in names and foreign text visible, so that no file name can drive the terminal. */
export function printable(text: string): string {
  return text.replace(CONTROL, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** The same on one line: a message stays one also where a name in it has line breaks. */
function printableLine(text: string): string {
  return printable(text.trimEnd().replaceAll('\n', '\\n'))
}

export function createOutput(
  options: OutputOptions,
  { stdout, stderr }: { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream },
): Output {
  const clears = new Set<() => void>()
  const line = (stream: NodeJS.WriteStream, text: string) => {
    for (const clear of clears) clear()
    stream.write(text.endsWith('\n') ? text : `${text}\n`)
  }
  return {
    ...options,
    attach(clear) {
      clears.add(clear)
      return () => void clears.delete(clear)
    },
    answer(value, render) {
      if (options.json) {
        line(
          stdout,
          JSON.stringify(value, (_key, item) => (typeof item === 'number' && !Number.isFinite(item) ? String(item) : item), 2),
        )
        return
      }
      const text = render()
      if (text !== '') line(stdout, text)
    },
    say(text) {
      if (!options.quiet && !options.json) line(stdout, printable(text))
    },
    detail(text) {
      if (options.verbose) line(stderr, printable(text))
    },
    warn(text) {
      line(stderr, printableLine(`warning: ${text}`))
    },
    error(error) {
      const { message, code, hint } =
        error instanceof MlvError ? error : { message: String(error), code: 'BUG', hint: (error as Error)?.stack }
      if (options.json) line(stderr, JSON.stringify({ error: { code, message, hint } }))
      else {
        line(stderr, printableLine(`error: ${message}`))
        if (hint) line(stderr, printable(`  ${hint}`))
      }
      if (options.verbose && error instanceof Error && error.cause instanceof Error)
        line(stderr, `  cause: ${printable(error.cause.message)}`)
    },
  }
}
