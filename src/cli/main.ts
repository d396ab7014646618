import { VERSION } from './version.ts'

// What a shell prompt or a script asks most must not load the rest.
const [first, ...others] = process.argv.slice(2)
if ((first === '--version' || first === '-V') && others.length === 0) printVersion()
else {
  const { run } = await import('./run.ts')
  process.exitCode = await run(process.argv.slice(2))
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
