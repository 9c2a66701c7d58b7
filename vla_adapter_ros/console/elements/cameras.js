// Live pictures of all cameras. A picture is acknowledged once it is shown, and only then comes the next one.
// Over the picture of a calibrated camera: the way that the tool would go.
export default {
  template: `
    <div class="cameras">
      <figure v-for="(name, place) in names" :key="name" class="camera">
        <div class="view">
          <img ref="pictures" :alt="'camera ' + name + (rates[place] ? '' : ': no picture yet')" />
          <svg v-if="paths[name]" :viewBox="paths[name].box" role="img" :aria-label="'path of the tool in ' + name">
            <polyline class="edge" :points="paths[name].points" /><polyline class="path" :points="paths[name].points" />
          </svg>
        </div>
        <figcaption>{{ name }} <span class="rate">{{ rates[place] ? rates[place] + " Hz" : "no picture yet" }}</span></figcaption>
      </figure>
    </div>`,
  props: { names: Array },
  data() {
    return { rates: this.names.map(() => 0), paths: {} };
  },
  mounted() {
    this.counts = this.names.map(() => 0);
    this.onPicture = (event) => this.show(event.detail);
    this.onCurves = (event) => (this.paths = this.drawn(event.detail.figure?.images ?? {}));
    window.addEventListener("console-picture", this.onPicture);
    window.addEventListener("console-curves", this.onCurves);
    this.timer = setInterval(() => {
      this.rates = this.counts.map((count) => Math.round(count / 2));
      this.counts.fill(0);
    }, 2000);
  },
  unmounted() {
    window.removeEventListener("console-picture", this.onPicture);
    window.removeEventListener("console-curves", this.onCurves);
    clearInterval(this.timer);
  },
  methods: {
    // Camera -> the corners of its path in the shown picture; the contract's size is a window in it, or around it.
    drawn(images) {
      const paths = {};
      for (const [name, { path, aspect, fit }] of Object.entries(images)) {
        const image = this.$refs.pictures?.[this.names.indexOf(name)];
        if (!image?.naturalWidth || path.length < 2) continue;
        const shown = image.naturalWidth / image.naturalHeight;
        const fullWidth = (fit === "pad") !== aspect > shown;
        const [width, height] = fullWidth ? [1, shown / aspect] : [aspect / shown, 1];
        const points = path.map(([u, v]) => `${shown * (0.5 + (u - 0.5) * width)},${0.5 + (v - 0.5) * height}`);
        paths[name] = { box: `0 0 ${shown} 1`, points: points.join(" ") };
      }
      return paths;
    },
    show({ place, picture, done }) {
      const image = this.$refs.pictures?.[place];
      if (!image) return done();
      const address = URL.createObjectURL(picture);
      const over = () => {
        URL.revokeObjectURL(address);
        this.counts[place] += 1;
        done();
      };
      image.onload = over;
      image.onerror = over;
      image.src = address;
    },
  },
};
