/**
 * The style of the server's page, by daylight and in the dark, on a screen and on a phone.
 *
 * @module
 */

/** The style sheet. */
export const style = `:root {
  color-scheme: light dark;
  --back: light-dark(#f6f7f9, #14171c);
  --card: light-dark(#ffffff, #1d2128);
  --text: light-dark(#1b1f24, #e4e7eb);
  --soft: light-dark(#57606a, #a0a8b3);
  --line: light-dark(#d5dae0, #343b45);
  --main: light-dark(#0b5fae, #6cb2f5);
  --on-main: light-dark(#ffffff, #0d1117);
  --bad: light-dark(#b3261e, #ff8a80);
  --good: light-dark(#1a7f37, #56d364);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto;
  max-width: 46rem;
  padding: 1rem;
  background: var(--back);
  color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif;
}
header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; }
h2 { font-size: 1.1rem; margin: 0 0 0.5rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
a { color: var(--main); }
p { margin: 0.25rem 0; }
form, article { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; padding: 1rem; margin: 1rem 0; }
fieldset { border: 0; margin: 0 0 0.75rem; padding: 0; }
fieldset label { display: inline-block; margin-right: 1rem; padding: 0.35rem 0; }
legend { color: var(--soft); padding: 0; }
input[type="password"], textarea {
  display: block;
  width: 100%;
  margin: 0.25rem 0 0.75rem;
  padding: 0.5rem;
  border: 1px solid var(--line);
  border-radius: 0.3rem;
  background: var(--back);
  color: inherit;
  font: inherit;
}
button {
  min-height: 2.75rem;
  padding: 0 1rem;
  border: 1px solid var(--main);
  border-radius: 0.3rem;
  background: transparent;
  color: var(--main);
  font: inherit;
  cursor: pointer;
}
form button { background: var(--main); color: var(--on-main); }
button:disabled { opacity: 0.5; cursor: default; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
ol, ul { list-style: none; margin: 0; padding: 0; }
progress { width: 100%; accent-color: var(--main); }
.status { color: var(--soft); }
.done .status { color: var(--good); }
.failed .status, .error { color: var(--bad); }
.error { overflow-wrap: anywhere; }
.progress { font-variant-numeric: tabular-nums; }
#machines { margin-top: 1.5rem; }
#machines > h3 { margin: 1rem 0 0.25rem; }
#machines li { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.75rem 1rem; margin: 0.5rem 0; overflow-wrap: anywhere; }
#machines .gone { color: var(--bad); }
details { margin-top: 0.5rem; }
details li { padding: 0.25rem 0; overflow-wrap: anywhere; }
#notice:empty { display: none; }
#notice { padding: 0.5rem 1rem; border-left: 4px solid var(--bad); background: var(--card); }
@media (prefers-reduced-motion: no-preference) { button { transition: opacity 0.15s; } }
`;
