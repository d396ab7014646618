// Walks through mlv with real data in a new folder: `npm run demo`. Needs Node, git, and a built mlv ("npm ci" builds it).
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { constants, devNull, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const mlv = join(here, '..', 'bin', 'mlv.js')
const trackingUri = process.env.MLFLOW_TRACKING_URI
const keep = !process.env.CI

if (!existsSync(join(here, '..', 'dist', 'cli', 'main.cjs'))) {
  console.error('mlv is not built yet. Run "npm ci", then "npm run demo".')
  process.exit(2)
}

const started = performance.now()
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'mlv-demo-')))
const project = join(folder, 'penguins')
const colleague = join(folder, 'colleague')
const env = isolated(process.env)
let cwd = project

tell('A folder with data, scripts and a pipeline becomes a git repository and an mlv project')
cpSync(join(here, 'penguins'), project, { recursive: true })
run('git', 'init', '--quiet', '--initial-branch=main')
introduce('Ada Penguin', 'ada@example.org')
run('mlv', 'init')

tell('Git keeps a small pointer; the data goes to the cache, and from there to a remote: here a folder, else a bucket')
run('mlv', 'add', 'data')
run('mlv', 'remote', 'add', 'storage', '../storage', '--local', '--default')

tell('The pipeline: prepare, train, evaluate')
run('mlv', 'repro')
run('git', 'add', '.')
run('git', 'commit', '--quiet', '-m', 'Tell penguins apart')
run('mlv', 'push')

tell('An experiment is a branch: learn twice as fast')
run('git', 'switch', '--quiet', '-c', 'exp/faster-learning')
edit('params.yaml', 'lr: 0.1', 'lr: 0.2')
tell('Only what the change reaches runs again')
run('mlv', 'repro')
run('git', 'commit', '--quiet', '-am', 'Learn twice as fast')
run('mlv', 'push')

tell('Did it help?')
run('mlv', 'metrics', 'diff', 'main')
run('mlv', 'exp', 'show', '--all-branches')

tell(trackingUri ? 'The same history as MLflow runs' : 'The same history as MLflow runs: what would be sent')
if (trackingUri) run('mlv', 'mlflow', 'export', '--all-branches', '--tracking-uri', trackingUri)
else run('mlv', 'mlflow', 'export', '--all-branches', '--dry-run', '--tracking-uri', 'http://127.0.0.1:5000')

tell('A colleague clones the repository, pulls the data, and has nothing to compute')
cwd = folder
run('git', 'clone', '--quiet', 'penguins', 'colleague')
cwd = colleague
introduce('Grace Penguin', 'grace@example.org')
run('mlv', 'remote', 'add', 'storage', '../storage', '--local', '--default')
run('mlv', 'pull')
run('mlv', 'repro')

finish()

function finish() {
  const seconds = ((performance.now() - started) / 1000).toFixed(0)
  tell(`Done, in ${seconds} s`)
  if (!keep) {
    remove()
    return
  }
  console.log(`Everything is in ${folder}. To go on there:

  cd ${quote(project)}
  alias mlv=${quote(`node ${quote(mlv)}`)}       # or, for good: npm i -g ${quote(dirname(here))}
  mlv dag                             # the pipeline, drawn
  mlv exp show --all-commits          # every commit that changed a parameter or a metric
  mlv diff main                       # which files changed, with sizes
  mlv hooks install                   # from now on "git switch main" brings the data along
  mlv repro -s --force train          # run a stage again whatever has changed
${trackingUri ? '' : '\nWith a running MLflow server, the export is real: MLFLOW_TRACKING_URI=http://127.0.0.1:5000 npm run demo\n'}
Remove it with: rm -rf ${quote(folder)}`)
}

/** Runs one command in front of the reader; the first that fails ends the demo with its status. */
function run(program, ...args) {
  const location = cwd === folder ? '' : `${cwd.slice(folder.length + 1)} `
  console.log(`${paint('dim', `${location}$`)} ${paint('bold', [program, ...args].map(quote).join(' '))}`)
  const result = program === 'mlv' ? start(process.execPath, [mlv, ...args]) : start(program, args)
  if (result.error || result.status !== 0) fail(program, result)
}

function fail(program, { error, status, signal }) {
  const why = error ? error.message : signal ? `it was ended by ${signal}` : `it ended with status ${status}`
  console.error(`The demo stops here: ${program}: ${why}.${keep ? ` What there is so far: ${folder}` : ''}`)
  if (!keep) remove()
  process.exit(status ?? (signal ? 128 + constants.signals[signal] : 1))
}

function start(program, args) {
  return spawnSync(program, args, { cwd, env, stdio: 'inherit' })
}

/** Settings of the repository alone: without them git asks for a name, or signs with the reader's key. */
function introduce(name, email) {
  const settings = { 'user.name': name, 'user.email': email, 'commit.gpgSign': 'false', 'tag.gpgSign': 'false' }
  for (const [key, value] of Object.entries(settings)) {
    const result = start('git', ['config', key, value])
    if (result.error || result.status !== 0) fail('git config', result)
  }
}

function edit(name, before, after) {
  const text = readFileSync(join(cwd, name), 'utf8')
  if (!text.includes(before)) throw new Error(`${name} does not hold "${before}"`)
  console.log(paint('dim', `  ${name}: ${before} → ${after}`))
  writeFileSync(join(cwd, name), text.replace(before, after))
}

function tell(text) {
  console.log(`\n${paint('cyan', `# ${text}`)}`)
}

function remove() {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}

/** The reader's own git and mlv settings (hooks, signing, a shared cache, a repository that git hooks are running in) stay outside. */
function isolated(given) {
  const kept = Object.entries(given).filter(([name]) => !/^(GIT_|MLV_|XDG_CONFIG_HOME$|CLICOLOR_FORCE$)/.test(name))
  return {
    ...Object.fromEntries(kept),
    PATH: `${dirname(process.execPath)}${delimiter}${given.PATH ?? ''}`,
    GIT_CONFIG_GLOBAL: devNull,
    GIT_CONFIG_NOSYSTEM: '1',
    XDG_CONFIG_HOME: join(folder, '.config'),
  }
}

function quote(text) {
  return /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function paint(style, text) {
  const plain = !process.stdout.isTTY || process.env.NO_COLOR || process.env.TERM === 'dumb'
  return plain ? text : styleText(style, text)
}
