import { join } from 'node:path'
import { loadWithCodeCache } from './code-cache.ts'
import { VERSION } from './version.ts'

// What a shell prompt or a script asks most must not load the rest.
const words = process.argv.slice(2)
if (words.length === 1 && (words[0] === '--version' || words[0] === '-V')) printVersion()
else {
  const [command = ''] = words
  const code = loadWithCodeCache(join(__dirname, 'run.cjs'), VERSION, command)
  const { run, COMMANDS } = code.exports as typeof import('./run.ts')
  if (Object.hasOwn(COMMANDS, command)) process.on('exit', code.keep)
  void run(words).then((status) => {
    process.exitCode = status
  })
}

function printVersion(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return
    process.stderr.write(
      `error: The answer cannot be written: ${error.message}\n  Free some space where it goes, then run the command again.\n`,
    )
    // DISK_FULL's, which is not loaded here.
    process.exitCode = 9
  })
  process.stdout.write(`mlv ${VERSION}\n`)
}
