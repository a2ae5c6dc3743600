/** Loaded before the examples in doc comments run: there, an assertion that does not hold is a failure. */
console.assert = (holds, ...what) => {
  if (!holds) throw new Error(`The example's assertion does not hold ${what.join(" ")}`);
};
