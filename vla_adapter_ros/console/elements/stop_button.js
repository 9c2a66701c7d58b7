// The big Stop. It does not pass through anything but the page's line to the console.
export default {
  template: `
    <div class="stop">
      <button type="button" class="stop-button" @click="stop" :aria-describedby="'stop-note'">Stop</button>
      <p id="stop-note" class="stop-note">{{ note }}</p>
    </div>`,
  props: { hint: String },
  data() {
    return { answer: "" };
  },
  computed: {
    note() {
      return this.answer || this.hint;
    },
  },
  mounted() {
    this.onKey = (event) => event.key === "Escape" && this.stop();
    this.onAnswer = (event) => this.show(event.detail.text);
    window.addEventListener("keydown", this.onKey);
    window.addEventListener("console-answer", this.onAnswer);
  },
  unmounted() {
    window.removeEventListener("keydown", this.onKey);
    window.removeEventListener("console-answer", this.onAnswer);
  },
  methods: {
    stop() {
      this.show("stopping ...");
      window.consoleLink?.stop();
    },
    show(text) {
      this.answer = text;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => (this.answer = ""), 6000);
    },
  },
};
