/** What people type who come from git or DVC, and what does that here. */
const OTHER_WORDS = new Map([
  ['rm', 'Run "mlv remove".'],
  ['mv', 'Run "mlv move".'],
  ['run', 'Run "mlv repro", after "mlv stage add".'],
  ['list', 'Run "mlv ls".'],
  ['install', 'Run "mlv hooks install".'],
  ['commit', 'Record changed data with "mlv add -u", changed outs of stages with "mlv accept"; then "git commit".'],
  ['switch', 'Run "git switch", then "mlv checkout".'],
  ['clone', 'Run "git clone", then "mlv pull".'],
  ['log', 'Run "git log", or "mlv exp show" for params and metrics; "mlv logs STAGE" is what a stage printed.'],
  ['plots', 'Compare numbers with "mlv metrics diff"; git keeps the files of plots.'],
  ['get-url', 'Track what lies there with "mlv import-url".'],
])

/** @returns a hint for a command of git or DVC that has another name here */
export function hintForOtherWord(typed: string): string | undefined {
  return OTHER_WORDS.get(typed)
}
