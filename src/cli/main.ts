import { VERSION } from './version.ts'

// What a shell prompt or a script asks most must not load the rest.
const [first, ...others] = process.argv.slice(2)
if ((first === '--version' || first === '-V') && others.length === 0) process.stdout.write(`mlv ${VERSION}\n`)
else {
  const { run } = await import('./run.ts')
  process.exitCode = await run(process.argv.slice(2))
}
