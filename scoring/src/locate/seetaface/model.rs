//! The model file of SeetaFace: three boosted classifiers and three small networks.

/// Windows are brought to this size, in pixels; smaller faces are not found.
pub(super) const WINDOW: usize = 40;
/// Sides of the neighbourhood that one LAB feature looks at.
pub(super) const LAB_SIDE: usize = 9;
/// Weak classifiers between two chances to reject a window.
pub(super) const GROUP: usize = 10;
/// Numbers of one SURF feature: eight channels in 2 x 2 cells.
pub(super) const SURF_LENGTH: usize = 32;

/// A boosted classifier over LAB features.
#[derive(Debug)]
pub(super) struct Boosted {
    /// Column and row of each weak classifier's feature in the window.
    pub(super) places: Vec<(usize, usize)>,
    /// For each weak classifier, what each of the 256 codes adds to the score.
    pub(super) weights: Vec<[f32; 256]>,
    /// The least score after each group.
    pub(super) thresholds: Vec<f32>,
}

/// A network over SURF features that confirms a window and corrects its place.
#[derive(Debug)]
pub(super) struct Network {
    /// Which of the [patches](super::surf::patches) it looks at.
    pub(super) patches: Vec<usize>,
    /// Hidden layers are rectified, the last one goes through the sigmoid.
    pub(super) layers: Vec<Layer>,
}

/// One fully connected layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// A row for each output.
    pub(super) weights: Vec<f32>,
    /// One for each output.
    pub(super) biases: Vec<f32>,
}

/// The whole cascade.
#[derive(Debug)]
pub(super) struct Cascade {
    /// Side by side: each proposes windows.
    pub(super) boosted: Vec<Boosted>,
    /// One after the other.
    pub(super) networks: Vec<Network>,
}

impl Cascade {
    /// Reads the file; `None` where it is not laid out as the one published model is: three boosted classifiers, a level
    /// of two networks, a level of one.
    pub(super) fn read(bytes: &[u8], patches: usize) -> Option<Self> {
        let mut file = Reader(bytes);
        file.expect(&[3, 3])?;
        let mut boosted = Vec::new();
        for _ in 0..3 {
            file.expect(&[1, 0])?;
            boosted.push(file.boosted()?);
            // They take the windows of no other.
            file.expect(&[-1])?;
        }
        let mut networks = Vec::new();
        // Stages of each level, and the levels whose windows it takes.
        for (stages, sources) in [(2, &[3, 0, 1, 2][..]), (1, &[1, 0])] {
            file.expect(&[1, stages])?;
            for _ in 0..stages {
                file.expect(&[1])?;
                networks.push(file.network(patches)?);
            }
            file.expect(sources)?;
        }
        file.0.is_empty().then_some(Self { boosted, networks })
    }
}

/// Little-endian numbers of four bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes(&mut self) -> Option<[u8; 4]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn count(&mut self, max: usize) -> Option<usize> {
        usize::try_from(i32::from_le_bytes(self.bytes()?)).ok().filter(|n| *n <= max)
    }

    fn float(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.bytes()?)).filter(|f| f.is_finite())
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        (0..count).map(|_| self.float()).collect()
    }

    fn expect(&mut self, numbers: &[i32]) -> Option<()> {
        numbers.iter().try_for_each(|n| (i32::from_le_bytes(self.bytes()?) == *n).then_some(()))
    }

    fn boosted(&mut self) -> Option<Boosted> {
        let count = self.count(1000)?;
        self.expect(&[255])?;
        let last = WINDOW - LAB_SIDE;
        let places = (0..count).map(|_| Some((self.count(last)?, self.count(last)?))).collect::<Option<Vec<_>>>()?;
        let thresholds = self.floats(count)?.into_iter().skip(GROUP - 1).step_by(GROUP).collect();
        let weights = (0..count).map(|_| self.floats(256)?.try_into().ok()).collect::<Option<Vec<_>>>()?;
        count.is_multiple_of(GROUP).then_some(Boosted { places, weights, thresholds })
    }

    fn network(&mut self, patches: usize) -> Option<Network> {
        let (layers, features) = (self.count(8)?, self.count(patches)?);
        // They are counted from one.
        let patches = (0..features).map(|_| self.count(patches)?.checked_sub(1)).collect::<Option<Vec<_>>>()?;
        // The least score, the same in all: see `ACCEPTED`.
        (self.float()? == super::ACCEPTED).then_some(())?;
        let mut inputs = self.count(features * SURF_LENGTH).filter(|n| *n == features * SURF_LENGTH)?;
        let mut read = Vec::new();
        for _ in 1..layers {
            let outputs = self.count(4096)?;
            read.push(Layer { weights: self.floats(inputs * outputs)?, biases: self.floats(outputs)? });
            inputs = outputs;
        }
        (inputs == 4).then_some(Network { patches, layers: read })
    }
}
