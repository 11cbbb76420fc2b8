// A line over the page when the kernel no longer answers (controls.Watch): it asks, and counts what stays unanswered.

const INTERVAL = 4000; // ms; counted in questions, not in time: a tab that slept has asked none
const MOST_UNANSWERED = 4;

export default {
  render({ model, el }) {
    const line = document.createElement("div");
    line.className = "nnss nnss-gone";
    line.setAttribute("role", "alert");
    line.textContent = model.get("text");
    line.hidden = true;
    el.append(line);
    let unanswered = 0;
    model.on("msg:custom", () => {
      unanswered = 0;
      line.hidden = true;
    });
    const timer = setInterval(() => {
      line.hidden = unanswered < MOST_UNANSWERED;
      unanswered += 1;
      model.send({ type: "there?" });
    }, INTERVAL);
    return () => clearInterval(timer);
  },
};
